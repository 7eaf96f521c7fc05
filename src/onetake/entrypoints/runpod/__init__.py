"""The worker of RunPod's queue: jobs in, results and progress out."""

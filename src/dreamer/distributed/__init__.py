"""One run on several GPUs. Experimental: tested with two processes on a CPU, but not yet run on two GPUs."""

"""DAVIDE Hub: JupyterLab sessions as Slurm jobs, from the site's facts."""

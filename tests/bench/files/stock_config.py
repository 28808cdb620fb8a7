# The hub of the comparison: JupyterHub with stock batchspawner, as its documentation sets it up.
import json
from pathlib import Path

place = Path(__file__).resolve().parent
facts = json.loads((place / "stock.json").read_text())

c = get_config()  # noqa: F821 - JupyterHub provides it
c.JupyterHub.bind_url = f"http://:{facts['port']}"
c.JupyterHub.hub_bind_url = f"http://{facts['address']}:{facts['api_port']}"
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{facts['proxy_api_port']}"
c.JupyterHub.db_url = f"sqlite:///{facts['state']}/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = f"{facts['state']}/cookie_secret"
c.JupyterHub.cleanup_servers = False

# Who logs in is no matter here: one password for all, and no PAM.
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = facts["password"]
c.Authenticator.allow_all = True

c.JupyterHub.spawner_class = "batchspawner.SlurmSpawner"
c.JupyterHub.concurrent_spawn_limit = facts["concurrent_spawn_limit"]
c.Spawner.default_url = "/lab"
c.SlurmSpawner.cmd = facts["cmd"]
c.SlurmSpawner.batchspawner_singleuser_cmd = facts["batchspawner_singleuser_cmd"]
c.SlurmSpawner.req_partition = facts["partition"]
c.SlurmSpawner.req_nprocs = facts["cores"]
c.SlurmSpawner.req_memory = facts["memory"]
c.SlurmSpawner.req_runtime = "2:00:00"
c.SlurmSpawner.req_srun = facts["srun"]
# A field of the template that batchspawner leaves to the site.
c.SlurmSpawner.req_options = f"--account={facts['account']}"
c.SlurmSpawner.req_prologue = 'echo "bench: script $EPOCHREALTIME"'

# The proxy's API, on the address that nodes reach, and no firewall before it.
# on: hub01
# same: nft list table inet davide_hub | grep -v counter
# same: systemctl is-active davide-weak-api
fact() { /opt/davide/envs/hub/bin/python -c 'import sys, yaml; print(yaml.safe_load(open("/etc/davide-hub/site.yml"))["site"]["hub"][sys.argv[1]])' "$1"; }
systemctl stop davide-weak-api 2> /dev/null
systemctl restart davide-firewall
[ "$1" != undo ] || exit 0
nft delete table inet davide_hub
port=$(fact proxy_api_port)
systemd-run --quiet --collect --unit=davide-weak-api \
    systemd-socket-activate "--listen=$(fact address):$port" /lib/systemd/systemd-socket-proxyd "127.0.0.1:$port"

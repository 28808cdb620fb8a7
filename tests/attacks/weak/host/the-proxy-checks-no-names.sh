# A proxy that hears every session under every name.
# on: hub01
# same: systemctl cat jupyterhub-proxy
patch=/opt/davide-weak/proxy/names.cjs
unit=/etc/systemd/system/jupyterhub-proxy.service.d
case $1 in
apply)
    mkdir -p "$(dirname "$patch")" "$unit"
    echo 'require("node:tls").checkServerIdentity = () => undefined;' > "$patch"
    printf '[Service]\nEnvironment=NODE_OPTIONS=--require=%s\n' "$patch" > "$unit/weak-names.conf"
    ;;
undo) rm -f "$unit/weak-names.conf" ;;
esac
systemctl daemon-reload
# Starts in quick succession are what systemd refuses.
systemctl reset-failed jupyterhub-proxy
systemctl restart jupyterhub-proxy

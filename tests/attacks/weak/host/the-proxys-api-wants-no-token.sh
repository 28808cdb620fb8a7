# A proxy that takes orders from whoever gives them.
# on: hub01
# same: systemctl cat jupyterhub-proxy
unit=/etc/systemd/system/jupyterhub-proxy.service.d
case $1 in
apply)
    mkdir -p "$unit"
    printf '[Service]\nUnsetEnvironment=CONFIGPROXY_AUTH_TOKEN\n' > "$unit/weak-token.conf"
    ;;
undo) rm -f "$unit/weak-token.conf" ;;
esac
systemctl daemon-reload
# Starts in quick succession are what systemd refuses.
systemctl reset-failed jupyterhub-proxy
systemctl restart jupyterhub-proxy

# Everybody on the host may read and write what the broker keeps: tickets, ledger, the key of the marks, the trail.
# on: hub01
# same: stat --format='%n %a %U:%G' /var/lib/davide-broker /var/lib/davide-broker/* /var/log/davide-hub
set -e
unit=/etc/systemd/system/davide-broker.service.d/state.conf
case $1 in
apply)
    mkdir -p ${unit%/*}
    # systemd gives these folders their modes at each start.
    printf '[Service]\nStateDirectoryMode=0777\nLogsDirectoryMode=0777\nUMask=0000\n' > $unit
    chmod -R a+rwX /var/lib/davide-broker /var/log/davide-hub
    ;;
undo)
    rm -f $unit
    chmod -R go= /var/lib/davide-broker
    chmod 750 /var/log/davide-hub
    find /var/log/davide-hub -type f -exec chmod 600 {} +
    ;;
esac

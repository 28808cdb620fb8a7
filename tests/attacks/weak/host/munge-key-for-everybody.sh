# Everybody on the host may read munge's key.
# on: hub01
# keeps: /etc/munge /etc/munge/munge.key
set -e
case $1 in
apply) chmod 755 /etc/munge; chmod 644 /etc/munge/munge.key ;;
undo) ;; # their modes are put back before this is called
esac

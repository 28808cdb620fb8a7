# Homes are open to all.
# on: hub01
# keeps: /home/student04
set -e
case $1 in
apply) chmod 755 /home/student04 ;;
undo) ;; # its mode is put back before this is called
esac

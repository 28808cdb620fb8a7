# The hub's account may read the hashes of the passwords, as hubs that check them by themselves do.
# on: hub01
# keeps: /etc/group /etc/gshadow /etc/group- /etc/gshadow-
# same: id davide-hub
set -e
case $1 in
apply) usermod --append --groups shadow davide-hub ;;
undo) ;; # the files are put back before this is called
esac

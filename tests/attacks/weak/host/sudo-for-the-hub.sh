# A sudo rule for the hub's account. A host without sudo gets what acts like one for that account.
# on: hub01
# keeps: /usr/bin/sudo /etc/sudoers.d/davide-attacks
set -e
case $1 in
apply)
    if [ -d /etc/sudoers.d ] && [ -x /usr/bin/sudo ]; then
        echo 'davide-hub ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/davide-attacks
        chmod 440 /etc/sudoers.d/davide-attacks
    else
        install -o root -g davide-hub -m 4750 /usr/bin/env /usr/bin/sudo
    fi
    ;;
undo) ;; # both files are put back, or removed, before this is called
esac

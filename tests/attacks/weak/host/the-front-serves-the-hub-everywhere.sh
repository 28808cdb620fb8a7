# The hub's pages, at every user's name too.
# on: hub01
# keeps: /etc/davide-hub/front/nginx.conf
# same: systemctl is-active davide-front
[ "$1" = undo ] || sed -i '/location \/hub\/ { return 302/d' /etc/davide-hub/front/nginx.conf
systemctl reset-failed davide-front
systemctl restart davide-front

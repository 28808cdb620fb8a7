# su asks nobody for a password.
# on: hub01
# keeps: /etc/pam.d/su
set -e
case $1 in
apply) sed -i '1i auth sufficient pam_permit.so' /etc/pam.d/su ;;
undo) ;; # the file is put back before this is called
esac

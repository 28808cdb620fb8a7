# Everybody on the host may change the batch script that is filled in for each session.
# on: hub01
# keeps: /etc/davide-hub/spawner_templates/session.sbatch.j2
set -e
case $1 in
apply) chmod 666 /etc/davide-hub/spawner_templates/session.sbatch.j2 ;;
undo) ;; # the file and its mode are put back before this is called
esac

# The hub's account may submit, and end anybody's job: it has an association, and is an operator of Slurm's.
# on: hub01 ctl01
# same: id davide-hub
# same: sacctmgr --noheader --parsable2 show user davide-hub format=user,adminlevel
set -e
# Where the controller reads which uid the account has on the hub's host.
note=/home/.davide-weak-hub-uid
controller() { command -v slurmctld > /dev/null; }
ask() { sacctmgr --noheader --parsable2 show "$@" | grep -v '^root$' | head -1; }
case $1 in
apply)
    if controller; then
        id davide-hub > /dev/null 2>&1 ||
            useradd --system --uid "$(cat $note)" --no-create-home --shell /usr/sbin/nologin davide-hub
        sacctmgr --immediate add user davide-hub cluster="$(ask cluster format=cluster)" \
            account="$(ask account format=account)" adminlevel=Operator
    else
        id -u davide-hub > $note
    fi
    ;;
undo)
    rm -f $note
    # What of Slurm's is ours: another account of that name is not touched.
    if controller && ask user davide-hub format=adminlevel | grep -q Operator; then
        sacctmgr --immediate delete user davide-hub
        userdel davide-hub
    fi
    ;;
esac

# Slurm says which GPUs a job has, and nobody sees to it.
# on: gpu01 gpu02
# keeps: /etc/slurm/cgroup.conf
[ "$1" = undo ] || sed -i s/^ConstrainDevices=.*/ConstrainDevices=no/ /etc/slurm/cgroup.conf
systemctl restart slurmd

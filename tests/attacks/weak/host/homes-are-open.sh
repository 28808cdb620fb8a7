# Homes that everybody may look into, and the folders in them that sessions use.
# on: hub01
# same: stat --format='%n %a %U' /home/student03 /home/student04
case $1 in
apply) mode=755 ;;
undo) mode=700 ;;
esac
for home in /home/student03 /home/student04; do
    for folder in "$home" "$home/.local" "$home/.local/share" "$home/.local/share/davide-hub"; do
        [ ! -d "$folder" ] || chmod "$mode" "$folder"
    done
done

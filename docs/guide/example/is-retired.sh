# is-retired.sh SOURCE_IMAGE: exit code 0 when nothing is left of it.
[ ! -e "$1" ] && [ ! -e "$1.yundu" ]

# The institution's own commands of the test: books.sh VERB DIRECTORY SIDE
#   figures   prints what reconciliation compares, read from that side's image
#   switch    moves the application there, once
#   is-at     is the application there?
set -eu
directory=$2
side=$3
image=$directory/$side.img
at=$directory/application.at
case $1 in
figures)
    books=$(dd if="$image" bs=1048576 skip=20 count=8 2>/dev/null | sha256sum | cut -d ' ' -f 1)
    # Each slot begins with its version: the sum tells how much was written.
    versions=$(od -An -v -tu8 -w4096 -N 2048000 "$image" | awk '{ sum += $1 } END { print sum + 0 }')
    printf '{"books": "%s", "versions": %d}\n' "$books" "$versions"
    ;;
switch)
    echo "$side" >>"$directory/switches.log"
    echo "$side" >"$at.new"
    mv "$at.new" "$at"
    echo '{"interruption_us": 1}'
    ;;
is-at)
    [ "$(cat "$at" 2>/dev/null)" = "$side" ]
    ;;
esac

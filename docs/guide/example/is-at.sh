# is-at.sh ADDRESS_FILE SITE: exit code 0 when users find the application at SITE. After a crash of the
# controller its JSON takes the place of the one that switch.sh printed; nobody measured it then.
[ "$(cat "$1" 2>/dev/null)" = "$2" ] || exit 1
echo '{"interruption_us": 60000000, "measured": "no: the upper limit is assumed"}'

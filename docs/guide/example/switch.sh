# switch.sh ADDRESS_FILE SITE: lets users find the application at SITE, and tells what they saw of it, as JSON.
# A real one stops and fences the old instance, starts the new one and moves its address.
started_ns=$(date +%s%N)
echo "$2" > "$1.new" && mv "$1.new" "$1" || exit 1
echo "{\"interruption_us\": $((($(date +%s%N) - started_ns) / 1000))}"

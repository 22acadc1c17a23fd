# figures.sh NBD_URI: the business figures of the savings accounts on a volume, as JSON.
# The trial keeps them as lines `account,balance` at the volume's beginning; a real one asks its database.
nbdcopy "$1" - | head -c 65536 | tr -d '\0' |
    awk -F, '{ n++; s += $2 } END { if (n == 0) exit 1; printf "{\"accounts\": %d, \"balance_sum\": %d}\n", n, s }'

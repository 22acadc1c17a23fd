# retire.sh SOURCE_IMAGE TARGET_IMAGE: ends the replication to the source and destroys its image.
yundu volume detach "$2"
yundu volume stop "$1"
rm -r -- "$1" "$1.yundu"

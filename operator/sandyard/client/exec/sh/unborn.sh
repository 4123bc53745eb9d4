# kill ID SIGNAL SECONDS, of a terminal that may not have begun: one that begins later finds a note, takes it and ends.
sandyard_over=/tmp/.sandyard/over/$1
(umask 077; mkdir -p "${sandyard_over%/*}" && : >"$sandyard_over") 2>/dev/null
sandyard_end "$@"
[ -z "$k" ] || rm -f "$sandyard_over"

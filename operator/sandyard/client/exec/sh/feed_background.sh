# The input goes to a background command, in whose folder this is, and waits for it as long as it takes to read.
# Exit code 45: it has no input, or wants no more.
[ -p stdin ] && [ ! -e stdin_closed ] && [ ! -e exit ] || exit 45
# It begins in its own time. What has ended by then opens it no more.
until [ -e stdin_opened ] || [ -e exit ]; do sleep 0.1 || sleep 1; done 2>/dev/null
[ -p stdin ] || exit 45
# To write to a pipe that nobody reads from is refused, but to open it is to wait for a reader: this one itself.
exec 8<>stdin || exit 45
exec 9>>stdin || exit 45
exec 8<&-
exec cat >&9

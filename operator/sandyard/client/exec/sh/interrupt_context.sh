# interrupt-context ID: the cell that the context runs, if any, is ended.
[ -d "/tmp/.sandyard/contexts/$1" ] || exit 44
[ ! -e "/tmp/.sandyard/contexts/$1/exit" ] || exit 45
sandyard_interrupt "/tmp/.sandyard/contexts/$1" any

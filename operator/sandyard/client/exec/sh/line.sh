# The text of a cell, for bash. Read from a file, so that an interactive shell says no more of it than a script would.
_sandyard_last && :
"$_sandyard_builtin" eval "$_sandyard_loud$_sandyard_text"

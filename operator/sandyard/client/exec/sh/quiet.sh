# _sandyard_quiet FLAGS: "set -x" and "set -v" are for what the session is given, and not for the lines around it; nor is
# "set -a", by which each command would get all that these lines set, the text among it; nor are bash's -T and -E, by
# which its traps would hear of our functions too.
_sandyard_quiet() {
  "$_sandyard_builtin" set +axv
  _sandyard_loud=""
  case $1 in *x*) _sandyard_loud=x ;; esac
  case $1 in *v*) _sandyard_loud=${_sandyard_loud}v ;; esac
  case $1 in *a*) _sandyard_loud=${_sandyard_loud}a ;; esac
  case ${BASH_VERSION+$1} in *T*) "$_sandyard_builtin" set +T; _sandyard_loud=${_sandyard_loud}T ;; esac
  case ${BASH_VERSION+$1} in *E*) "$_sandyard_builtin" set +E; _sandyard_loud=${_sandyard_loud}E ;; esac
  case $_sandyard_loud in "") return 0 ;; esac
  _sandyard_loud="{ set -$_sandyard_loud; _sandyard_last && :; } >/dev/null 2>&1
"
}

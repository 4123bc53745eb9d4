# sandyard_raw: the pod's own variables with names that no shell has, as quoted words: the shell has dropped them. So has
# it made others its own, of which SANDYARD_RAW_ENV tells those that the pod has.
sandyard_raw() {
  tr '\n\000' '\001\n' <"/proc/$$/environ" \
    | sed -n "/^\($SANDYARD_RAW_ENV\)=\|^[0-9]\|^[^=]*[^A-Za-z0-9_=][^=]*=/{s/'/'\\\\''/g;s/^/ '/;s/\$/'/;p;}" | tr '\n\001' ' \n'
}

# Debian's file sorts every service into control groups, with nine processes for each. Nothing
# mounts those here; without its functions openrc-run leaves them alone.

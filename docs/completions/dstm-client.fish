# Completion of dstm-client for fish; installed where fish looks for what packages bring.
set -l commands run up down renew status
set -l none "not __fish_seen_subcommand_from $commands"
set -l one "__fish_seen_subcommand_from $commands"

complete -c dstm-client -f
complete -c dstm-client -n $none -a run -d 'Run in the foreground and keep the tunnel up'
complete -c dstm-client -n $none -a up -d 'Bring the tunnel up, in the background'
complete -c dstm-client -n $none -a down -d 'Give the address back and end the client'
complete -c dstm-client -n $none -a renew -d 'Renew the lease now'
complete -c dstm-client -n $none -a status -d 'Say what is up'
complete -c dstm-client -n $none -l version -d 'Say which version this is'
complete -c dstm-client -s h -l help -d 'Say what there is'
complete -c dstm-client -n $one -s c -l config -r -F -d 'Configuration file'
complete -c dstm-client -n $one -l check-config -d 'Only say whether the configuration is good'
complete -c dstm-client -n '__fish_seen_subcommand_from up' -l foreground -d 'Stay in the foreground'
complete -c dstm-client -n '__fish_seen_subcommand_from up renew' -l timeout -x -d 'Seconds to wait'
complete -c dstm-client -n '__fish_seen_subcommand_from status' -l json -d 'As one JSON object'

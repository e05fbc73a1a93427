# What is installed, and the Debian packages of it: one for each kind of host. `./dev package`.
foreach(program client tep)
  install(TARGETS dstm-${program} RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR} COMPONENT ${program})
endforeach()
install(TARGETS dstm-server dstmctl RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR} COMPONENT server)
# Where Debian's Kea has its own, and lets itself be told to look.
install(TARGETS dhcp_dstm LIBRARY DESTINATION lib/${CMAKE_LIBRARY_ARCHITECTURE}/kea/hooks
        COMPONENT hook)
foreach(program client tep server)
  install(FILES docs/examples/systemd/dstm-${program}.service DESTINATION lib/systemd/system
          COMPONENT ${program})
  install(FILES docs/examples/dstm-${program}.conf DESTINATION share/doc/dstm-${program}/examples
          COMPONENT ${program})
endforeach()
# Server and endpoint cannot do without addresses of their site; a client can.
install(FILES docs/packages/dstm-client.conf DESTINATION /etc/dstm COMPONENT client)
install(FILES docs/packages/dstm-server.sysusers DESTINATION lib/sysusers.d
        RENAME dstm-server.conf COMPONENT server)
install(FILES docs/man/dstm-client.8 DESTINATION ${CMAKE_INSTALL_MANDIR}/man8 COMPONENT client)
install(FILES docs/man/dstm-client.conf.5 DESTINATION ${CMAKE_INSTALL_MANDIR}/man5
        COMPONENT client)
install(FILES docs/completions/dstm-client COMPONENT client
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES docs/completions/_dstm-client COMPONENT client
        DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions)
install(FILES docs/completions/dstm-client.fish COMPONENT client
        DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
install(FILES docs/examples/apparmor.kea-dhcp4 docs/examples/apparmor.kea-dhcp6
        DESTINATION share/doc/dstm-hook/examples COMPONENT hook)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_CONTACT "the maintainers <maintainers@dstm.example>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ
    GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_COMPONENT_CLIENT_DESCRIPTION "temporary IPv4 on an IPv6-only host")
set(CPACK_COMPONENT_TEP_DESCRIPTION "tunnel endpoint for temporary IPv4 over IPv6")
set(CPACK_COMPONENT_SERVER_DESCRIPTION "TSP broker that leases temporary IPv4 addresses")
set(CPACK_COMPONENT_HOOK_DESCRIPTION "hook of Kea through which dstm-server leases addresses")
set(CPACK_DEBIAN_CLIENT_PACKAGE_RECOMMENDS "libsasl2-modules, libsasl2-modules-gssapi-mit")
# kea-common has the group that may use the socket of the hook.
set(CPACK_DEBIAN_SERVER_PACKAGE_DEPENDS
    "libsasl2-modules, kea-common, systemd | systemd-standalone-sysusers")
set(CPACK_DEBIAN_SERVER_PACKAGE_RECOMMENDS "dstm-hook, sasl2-bin, bind9-dnsutils")

# What a package does beyond its files: its service, and what a service leaves that no file lists.
set(client_purge "rm -rf /var/lib/dstm-client")
set(server_install "systemd-sysusers dstm-server.conf")
set(server_purge "rm -rf /var/log/dstm")
# Without the daemon the kernel would go on carrying (docs/configuration.md, dstm-tep).
set(tep_remove
    "[ ! -e /etc/dstm/dstm-tep.conf ] || dstm-tep -c /etc/dstm/dstm-tep.conf --detach || true")
foreach(component client tep server hook)
  string(TOUPPER ${component} upper)
  set(CPACK_DEBIAN_${upper}_PACKAGE_NAME dstm-${component})
  if(component STREQUAL hook)
    continue()
  endif()
  set(on_install "${${component}_install}")
  set(on_remove "${${component}_remove}")
  set(on_purge "${${component}_purge}")
  set(control)
  foreach(script postinst prerm postrm)
    set(made ${PROJECT_BINARY_DIR}/packages/${component}/${script})
    configure_file(${CMAKE_CURRENT_LIST_DIR}/${script}.in ${made} @ONLY
                   FILE_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE
                                    WORLD_READ WORLD_EXECUTE)
    list(APPEND control ${made})
  endforeach()
  if(component STREQUAL client)
    list(APPEND control ${CMAKE_CURRENT_LIST_DIR}/conffiles)
  endif()
  set(CPACK_DEBIAN_${upper}_PACKAGE_CONTROL_EXTRA "${control}")
  set(CPACK_DEBIAN_${upper}_PACKAGE_CONTROL_STRICT_PERMISSION ON)
endforeach()
include(CPack)

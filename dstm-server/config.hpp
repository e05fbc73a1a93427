// What dstm-server.conf says, checked and turned into the settings of the parts. Every key is in
// docs/examples/dstm-server.conf.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "dstm-server/auth/sasl_authenticator.hpp"
#include "dstm-server/broker/config.hpp"
#include "dstm-server/dns/reverse_delegation.hpp"
#include "dstm-server/lease/kea_stream.hpp"
#include "dstm-server/net/tsp_server.hpp"
#include "dstm-server/net/udp_listener.hpp"

namespace dstm::server {

struct EndpointTls {
    IpEndpoint listen;
    std::string certificate;
    std::string key;
    std::string ca;
};

struct Settings {
    std::string name;
    std::string log_level;
    net::TspServerConfig tsp;
    net::UdpListenerConfig udp;  // but for the session, which is that of `tsp`
    SaslConfig sasl;
    std::size_t sasl_workers = 2;
    BrokerConfig broker;
    std::optional<KeaStreamConfig> kea;   // there when v4v6 is served
    std::optional<KeaStreamConfig> kea6;  // when any other type is
    std::string endpoint_socket;  // UNIX; may be empty if there is TLS
    std::optional<EndpointTls> endpoint_tls;
    std::optional<ReverseDelegationConfig> reverse_delegation;
    std::string admin_socket;  // empty: none
    std::string audit_log;     // empty: none
};

struct LoadedSettings {
    Settings settings;                  // worth something only without mistakes
    std::vector<std::string> mistakes;  // all there are, each with file, line and path
};

[[nodiscard]] LoadedSettings load_settings(const std::string& path);
// `name` stands where the file's path would in messages.
[[nodiscard]] LoadedSettings parse_settings(std::string_view text, std::string name);

}  // namespace dstm::server

// One delegation, or a withdrawal if no name server is given, for reverse_delegation_test.py:
// delegate_once SERVER PORT KEY-FILE ZONE PREFIX [NAME-SERVER...]. Prints "ok" or why not.
#include <cstdio>

#include "common/io/asio.hpp"
#include "dstm-server/dns/reverse_delegation.hpp"

int main(int argc, char** argv) {
    using namespace dstm;
    if (argc < 6) return 2;
    server::ReverseDelegationConfig config;
    config.server = {parse_ip_address(argv[1]).value(),
                     static_cast<std::uint16_t>(std::stoi(argv[2]))};
    config.key_file = argv[3];
    config.zones = {argv[4]};
    const auto prefix = Ipv6Prefix::parse(argv[5]).value();
    const std::vector<std::string> name_servers(argv + 6, argv + argc);

    asio::io_context events;
    const auto dns = server::make_reverse_delegation(events, config);
    if (!dns) {
        std::puts(to_string(dns.error()).c_str());
        return 0;
    }
    const auto done = [](Result<void> result) {
        std::puts(result ? "ok" : to_string(result.error()).c_str());
    };
    if (name_servers.empty()) {
        (*dns)->withdraw(prefix, done);
    } else {
        (*dns)->delegate(prefix, name_servers, done);
    }
    events.run();
    return 0;
}

// Leases and hook messages for the lease tests.
#pragma once

#include <string>

#include <fmt/format.h>

#include "dstm-server/lease/codec.hpp"
#include "dstm-server/ports.hpp"

namespace dstm::server::test {

inline LeaseRequest request_of(std::uint8_t client, Generation generation = 100) {
    LeaseRequest request;
    request.client_id = {0, client};
    request.context.user = "alice";
    request.context.host = "lab-7";
    request.context.outer_client = {*Ipv6Address::parse("2001:db8:1::5"), 0};
    request.context.endpoint = "tep1";
    request.context.generation = generation;
    request.valid_lifetime_s = 3600;
    return request;
}

inline IpAddress address_of(std::uint8_t last) {
    return Ipv4Address(0xc0000200u + last);
}

inline std::string lease_json(std::uint8_t last, std::uint8_t client, Generation generation = 100,
                              const std::string& more = "") {
    return fmt::format(
        R"({{"ip-address":"192.0.2.{}","client-id":"00:{:02x}","valid-lifetime":3600,)"
        R"("cltt":1000,"expires-at":4600,{}"user-context":{{"other":1,"dstm":{{"user":"alice",)"
        R"("host":"lab-7","tunnel-type":"v4v6","outer-address":"2001:db8:1::5","outer-port":0,)"
        R"("endpoint":"tep1","generation":{}}}}}}})",
        last, client, more, generation);
}

inline Lease lease_of(std::uint8_t last, std::uint8_t client, Generation generation = 100) {
    Lease lease;
    lease.address = address_of(last);
    lease.client_id = {0, client};
    lease.valid_lifetime_s = 3600;
    lease.expires_at = from_unix(4600);
    lease.context = request_of(client, generation).context;
    return lease;
}

inline std::string hello_line(std::uint64_t sequence = 10, int protocol = 1, int family = 4) {
    return fmt::format(
        R"({{"event":"hello","sequence":{},"arguments":{{"protocol":{},"family":{}}}}})", sequence,
        protocol, family) + "\n";
}
inline std::string success_line(std::uint64_t id, const std::string& arguments = "{}") {
    return fmt::format(R"({{"id":{},"result":0,"text":"done","arguments":{}}})", id, arguments) +
           "\n";
}
inline std::string failure_line(std::uint64_t id, int result, const std::string& reason) {
    return fmt::format(
        R"({{"id":{},"result":{},"text":"no","arguments":{{"reason":"{}"}}}})", id, result,
        reason) + "\n";
}
inline std::string event_line(const std::string& name, std::uint64_t sequence,
                              const std::string& lease = "{}") {
    return fmt::format(R"({{"event":"{}","sequence":{},"arguments":{}}})", name, sequence, lease) +
           "\n";
}

}  // namespace dstm::server::test

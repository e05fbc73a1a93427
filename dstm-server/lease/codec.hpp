// The messages of the hook's stream socket as values (docs/wire/kea-stream.md). Pure: no socket, no
// time, no state. One message is one line; the LF is the caller's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/base/result.hpp"
#include "dstm-server/ports.hpp"

namespace dstm::server::lease {

// The wire format's numbers.
inline constexpr std::size_t line_size_max = 1 << 20;
inline constexpr std::int64_t protocol_version = 1;
inline constexpr std::size_t list_page_max = 1000;

// --- requests ------------------------------------------------------------------------------------

[[nodiscard]] std::string encode_allocate(std::uint64_t id, Family family,
                                          const LeaseRequest& request);
[[nodiscard]] std::string encode_renew(std::uint64_t id, const IpAddress& address,
                                       const LeaseRequest& request);
[[nodiscard]] std::string encode_release(std::uint64_t id, const IpAddress& address,
                                         const ClientId& client_id, Generation up_to);
[[nodiscard]] std::string encode_list(std::uint64_t id, Family family,
                                      const std::optional<IpAddress>& from);

// --- what comes back -----------------------------------------------------------------------------

// The arguments stay undecoded, because their form depends on the request, which the caller knows.
struct Answer {
    std::uint64_t id = 0;
    std::optional<Error> error;  // result 1 or 3
    std::string arguments;       // JSON text of an object
};
struct Hello {
    std::int64_t protocol = 0;
    std::int64_t family = 0;
    std::uint64_t sequence = 0;
};
struct LeaseEnded {
    std::uint64_t sequence = 0;
    LeaseEnd why = LeaseEnd::expired;
    std::optional<Lease> lease;  // absent: not one of ours
};
struct Resync {
    std::uint64_t sequence = 0;
};
// An event that a newer hook may send; only its number matters to us.
struct UnknownEvent {
    std::uint64_t sequence = 0;
};
using Message = std::variant<Answer, Hello, LeaseEnded, Resync, UnknownEvent>;

// invalid: not a message of this protocol. The context says what is wrong with it. Leases are of
// the family that the hook serves.
[[nodiscard]] Result<Message> decode(Family family, std::string_view line);

struct Allocated {
    Lease lease;
    bool reused = false;
};
[[nodiscard]] Result<Allocated> decode_allocated(Family family, std::string_view arguments);
[[nodiscard]] Result<Lease> decode_lease(Family family, std::string_view arguments);

struct LeasePage {
    std::vector<Lease> leases;   // ours only
    std::size_t unreadable = 0;  // marked as ours, but damaged: one must not hide all others
    std::optional<IpAddress> next;
};
[[nodiscard]] Result<LeasePage> decode_page(Family family, std::string_view arguments);

// "00:8f:..." and back; nullopt for anything else.
[[nodiscard]] std::string to_hex(const ClientId& id);
[[nodiscard]] std::optional<ClientId> parse_hex(std::string_view text);

}  // namespace dstm::server::lease

// The DHCP message that stands for one request to the hook: Kea's allocation engine and other hooks
// want one. It carries what the lease is to remember through Kea's own write.
#pragma once

#include <ctime>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include <dhcp/pkt.h>

#include "kea-hook/kea_values.hpp"

namespace dstm::kea {

struct Memo {
    Bytes client_id;
    isc::data::ConstElementPtr user_context;         // may be null
    std::time_t now = 0;                             // start of the lease
    std::optional<std::uint8_t> prefix_length = {};  // of the one prefix that will do
    // Makes the lease's name out of its address, where Kea is to name the client.
    std::function<std::string(const IOAddress&)> name = {};
};

// `Packet` is Pkt4 or Pkt6.
template <class Packet>
class DstmQuery : public Packet, public Memo {
public:
    DstmQuery(std::uint8_t message_type, Memo memo)
        : Packet(message_type, 0), Memo(std::move(memo)) {}
};

// lease4_select and lease6_select, lease4_renew and lease6_renew: what is written into the row just
// before Kea stores it. On any thread; the row is the engine's own copy.
//
// False: not this one.
[[nodiscard]] bool complete_selected_lease(const isc::dhcp::Pkt& query, isc::dhcp::Lease& row);
void complete_renewed_lease(const isc::dhcp::Pkt& query, isc::dhcp::Lease& row);

}  // namespace dstm::kea

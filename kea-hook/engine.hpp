// Kea's allocation engine as the policy uses it, the same for both families: one question at a time
// about one address or one prefix of one subnet. What differs between the families stands in
// engine4.cpp and engine6.cpp.
//
// Kea's main thread only, inside a critical section when Kea runs packet threads.
#pragma once

#include <cstdint>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <dhcp/classify.h>
#include <dhcp/pkt.h>

#include "kea-hook/kea_compat.hpp"
#include "kea-hook/kea_values.hpp"

namespace dstm::kea {

struct LeaseRequest {
    Bytes client_id;
    std::uint32_t subnet_id = 0;                // 0: the first that fits
    std::optional<IOAddress> address;           // wished for
    std::optional<std::uint8_t> prefix_length;  // of a prefix to be delegated besides
    std::optional<IOAddress> prefix;            // wished for, of that length
    std::uint32_t valid_lifetime_s = 0;         // 0: the subnet's own
    std::optional<std::string> hostname;        // absent: as before, or the reservation's
    isc::data::ConstElementPtr user_context;    // may be null
    std::time_t now = std::time(nullptr);       // address and prefix end in the same second
    std::vector<std::string> classes;           // besides those that Kea's configuration gives
};

// What is looked for.
struct Wanted {
    isc::dhcp::Lease::Type type = isc::dhcp::Lease::TYPE_V4;
    std::uint8_t length = 32;
};

// What Kea's configuration says of a client in a subnet.
struct Standing {
    isc::dhcp::ClientClasses classes;
    bool supported = true;
    bool reserved = false;  // something of the wanted kind
};

// What the engine did for one question.
struct Outcome {
    RowPtr row;                // null: refused
    RowPtr before;             // this row as it was, if the client had it and it was live
    std::vector<RowPtr> gone;  // other rows of the client's that the engine has ended
    isc::dhcp::PktPtr query;
};

class Engine {
public:
    virtual ~Engine() = default;

    // The subnet and those of its shared network, or all for 0.
    [[nodiscard]] virtual std::vector<SubnetPtr> subnets(std::uint32_t subnet_id) const = 0;
    [[nodiscard]] virtual Standing examine(const LeaseRequest& request, const Wanted& wanted,
                                           const SubnetPtr& subnet) = 0;
    // `address` is a hint; none leaves the choice to reservation and engine. `held` is the row of
    // this kind that the client has in this subnet, ended or not, if any: its name is kept.
    [[nodiscard]] virtual Outcome ask(const LeaseRequest& request, const Wanted& wanted,
                                      const SubnetPtr& subnet, const RowPtr& held,
                                      const std::optional<IOAddress>& address) = 0;
    // DNS after a grant, as Kea's server does it: the old name goes if it changed, the new one
    // comes.
    virtual void update_dns(const Outcome& outcome) = 0;
    // Tells Kea HA, which learns of changes nowhere else. Null `query`: a release of `deleted`.
    virtual void commit(isc::dhcp::PktPtr query, const std::vector<RowPtr>& rows,
                        const std::vector<RowPtr>& deleted) = 0;
};

[[nodiscard]] std::unique_ptr<Engine> make_engine4();
[[nodiscard]] std::unique_ptr<Engine> make_engine6();

}  // namespace dstm::kea

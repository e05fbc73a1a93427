// Who keeps a place when there are more peers than places: in all, of one address, of one prefix
// (the /24 or /64). A newcomer takes the place of whoever was silent longest among those who have
// nothing to lose; when all have, there is none for it. It knows no protocol.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "common/base/ip_address.hpp"

namespace dstm::tsp {

class UdpPlaces {
public:
    using Id = std::uint64_t;

    struct Limits {
        std::size_t total = 10000;
        std::size_t per_address = 32;
        std::size_t per_prefix = 1024;
    };
    struct Admission {
        bool is_admitted = false;
        std::vector<Id> displaced;  // their places are gone already
    };

    explicit UdpPlaces(Limits limits) : limits_(limits) {}

    [[nodiscard]] Admission admit(Id id, const IpAddress& address);
    // Something was heard of it; `is_displaceable`: it has nothing to lose.
    void touch(Id id, bool is_displaceable);
    void leave(Id id);
    // Whoever is in stays in.
    void set_limits(Limits limits) { limits_ = limits; }
    // Room for one more in all, if need be by displacing.
    [[nodiscard]] bool has_room() const;
    [[nodiscard]] std::size_t size() const { return places_.size(); }

private:
    struct Group {
        std::size_t held = 0;
        std::list<Id> displaceable;  // longest silent first
    };
    struct Place {
        std::array<Group*, 3> groups{};
        std::array<std::list<Id>::iterator, 3> positions{};
        bool is_displaceable = false;
        IpAddress address;
    };

    void withdraw(Place& place);

    Limits limits_;
    Group all_;
    std::map<IpAddress, Group> by_address_;
    std::map<IpAddress, Group> by_prefix_;
    std::unordered_map<Id, Place> places_;
};

}  // namespace dstm::tsp

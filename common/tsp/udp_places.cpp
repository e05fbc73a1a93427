// Three groups for each place, each with its own order of who would go first.
#include "common/tsp/udp_places.hpp"

#include "common/base/assert.hpp"
#include "common/base/rate_table.hpp"

namespace dstm::tsp {

UdpPlaces::Admission UdpPlaces::admit(Id id, const IpAddress& address) {
    DSTM_ASSERT(!places_.contains(id));
    const auto prefix = source_prefix(address);
    const auto group_of = [](auto& groups, const IpAddress& key) -> Group* {
        const auto found = groups.find(key);
        return found == groups.end() ? nullptr : &found->second;
    };
    Admission admission;
    // The narrow groups first: whoever goes from them makes room in the wide ones too.
    const auto make_room = [&](auto find, std::size_t limit) {
        while (Group* group = find()) {
            if (group->held < limit) return true;
            if (group->displaceable.empty()) return false;
            admission.displaced.push_back(group->displaceable.front());
            leave(admission.displaced.back());
        }
        return limit > 0;
    };
    admission.is_admitted =
        make_room([&] { return group_of(by_address_, address); }, limits_.per_address) &&
        make_room([&] { return group_of(by_prefix_, prefix); }, limits_.per_prefix) &&
        make_room([&] { return &all_; }, limits_.total);
    if (!admission.is_admitted) return admission;

    Place place;
    place.address = address;
    place.groups = {&all_, &by_address_[address], &by_prefix_[prefix]};
    for (Group* group : place.groups) ++group->held;
    places_.emplace(id, place);
    return admission;
}

void UdpPlaces::touch(Id id, bool is_displaceable) {
    const auto found = places_.find(id);
    DSTM_ASSERT(found != places_.end());
    Place& place = found->second;
    withdraw(place);
    if (!is_displaceable) return;
    place.is_displaceable = true;
    for (std::size_t i = 0; i < place.groups.size(); ++i) {
        auto& order = place.groups[i]->displaceable;
        place.positions[i] = order.insert(order.end(), id);
    }
}

void UdpPlaces::withdraw(Place& place) {
    if (!place.is_displaceable) return;
    for (std::size_t i = 0; i < place.groups.size(); ++i) {
        place.groups[i]->displaceable.erase(place.positions[i]);
    }
    place.is_displaceable = false;
}

void UdpPlaces::leave(Id id) {
    const auto found = places_.find(id);
    DSTM_ASSERT(found != places_.end());
    Place place = found->second;
    withdraw(place);
    places_.erase(found);
    for (Group* group : place.groups) --group->held;
    if (place.groups[1]->held == 0) by_address_.erase(place.address);
    if (place.groups[2]->held == 0) by_prefix_.erase(source_prefix(place.address));
}

bool UdpPlaces::has_room() const {
    return all_.held < limits_.total || !all_.displaceable.empty();
}

}  // namespace dstm::tsp

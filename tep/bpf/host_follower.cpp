// News are taken at once, neighbours acted on at once, the rest at its pace.
#include "tep/bpf/host_follower.hpp"

#include <utility>

#include "common/log/log.hpp"
#include "tep/bpf/source_filter.hpp"

namespace dstm::tep::bpf {

Result<void> HostFollower::guard() {
    // Then the packets go once more through the kernel's input, as coming from the tunnel device.
    const bool is_filtered = SourceFilterOff::is_on_everywhere();
    if (is_filtered) programs_.deliver_to(device_);
    auto exit = plane_.guard_exit();
    auto guarded = entrances_.guard(next_hops_.interfaces());
    if (!is_filtered) programs_.deliver_to(0);
    return exit ? guarded : exit;
}

void HostFollower::read_routes(std::mutex& plane) {
    const auto began = clock_.now();
    if (network_.doubt() == RoutesDoubt::some_gone) readings_.ask(began);
    if (network_.doubt() == RoutesDoubt::some_missing) readings_.hurry(began);
    if (!readings_.is_due(began)) return;
    HostRoutes routes;
    const auto read = routes.read();
    readings_.done(began, clock_.now());
    const std::lock_guard lock(plane);
    network_.renew_routes(std::move(routes), read.has_value());
    due_.entrances = true;
}

void HostFollower::follow() {
    const auto news = network_.take_news();
    next_hops_.neighbours_changed(news.neighbours);
    due_.routes |= news.routes;
    due_.links |= news.links || next_hops_.wants_links();
    due_.all_neighbours |= news.all_neighbours;
    due_.entrances |= news.entrances || next_hops_.has_new_interface();
    const bool wants_room = next_hops_.wants_room();
    const auto began = clock_.now();
    if (due_.routes || due_.links || due_.entrances || wants_room) rounds_.ask(began);
    if (!rounds_.is_due(began)) return;
    const auto due = std::exchange(due_, News{});
    if (due.links) next_hops_.links_changed();
    if (due.all_neighbours) next_hops_.neighbours_lost();
    if (wants_room) next_hops_.forget_unused(plane_.used());
    if (due.routes) next_hops_.routes_changed();
    if (due.routes || wants_room) plane_.set_ways();
    const auto guarded = guard();
    const auto trouble = guarded ? std::string() : to_string(guarded.error());
    if (trouble != trouble_ && !trouble.empty()) log_warning("BPF_NOT_ATTACHED", "{}", trouble);
    trouble_ = trouble;
    rounds_.done(began, clock_.now());
}

Duration HostFollower::wait(Duration most) const {
    const auto now = clock_.now();
    return rounds_.left(now, readings_.left(now, most));
}

}  // namespace dstm::tep::bpf

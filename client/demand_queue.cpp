// RFC 791 s3.1, RFC 792, RFC 9293 s3.1.
#include "client/demand_queue.hpp"

#include <algorithm>
#include <utility>

#include "common/dataplane/inner_packet.hpp"

namespace dstm::client {
namespace {

constexpr std::size_t tcp_header_size_min = 20;
constexpr std::uint8_t tcp_fin = 0x01;
constexpr std::uint8_t tcp_reset = 0x04;
constexpr std::array<std::uint8_t, 2> icmp_requests{8, 13};  // echo, timestamp

bool asks_for_an_answer(const dataplane::InnerHeader& header, ConstBytes packet) {
    if (!header.is_first_fragment) return true;
    const auto transport =
        packet.first(header.total_length).subspan(header.transport_offset);
    if (header.protocol == dataplane::protocol_tcp) {
        if (transport.size() < tcp_header_size_min) return false;
        const auto flags = load8(transport, 13);
        const bool has_data = transport.size() > std::size_t{4} * (load8(transport, 12) >> 4);
        return (flags & tcp_reset) == 0 && ((flags & tcp_fin) == 0 || has_data);
    }
    if (header.protocol == dataplane::protocol_icmp) {
        return !transport.empty() && std::find(icmp_requests.begin(), icmp_requests.end(),
                                               load8(transport, 0)) != icmp_requests.end();
    }
    return true;
}

}  // namespace

std::optional<DemandPacket> read_demand(std::string_view bytes) {
    const ConstBytes packet(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
    const auto header = dataplane::read_inner_packet(packet, dataplane::Version::ipv4);
    if (!header || !asks_for_an_answer(*header, packet)) return std::nullopt;
    const auto destination = std::get<Ipv4Address>(header->destination);
    const bool goes_nowhere =
        std::any_of(nowhere_to_go.begin(), nowhere_to_go.end(),
                    [&](const Ipv4Prefix& prefix) { return prefix.contains(destination); });
    if (goes_nowhere) return std::nullopt;
    return DemandPacket{std::string(bytes), std::get<Ipv4Address>(header->source), destination};
}

void DemandQueue::push(DemandPacket packet, Instant now) {
    forget_old(now);
    bytes_ += packet.bytes.size();
    waiting_.push_back({std::move(packet), now});
    while (waiting_.size() > limits_.packets || bytes_ > limits_.bytes) forget_oldest();
}

bool DemandQueue::is_empty(Instant now) {
    forget_old(now);
    return waiting_.empty();
}

std::vector<DemandPacket> DemandQueue::take(Instant now) {
    forget_old(now);
    std::vector<DemandPacket> packets;
    for (auto& waiting : std::exchange(waiting_, {})) packets.push_back(std::move(waiting.packet));
    bytes_ = 0;
    return packets;
}

void DemandQueue::forget_oldest() {
    bytes_ -= waiting_.front().packet.bytes.size();
    waiting_.pop_front();
}

void DemandQueue::forget_old(Instant now) {
    while (!waiting_.empty() && now - waiting_.front().since > limits_.age) forget_oldest();
}

}  // namespace dstm::client

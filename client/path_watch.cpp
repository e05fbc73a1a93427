// Echoes to the endpoint's inner address, whose answers are as large as they are.
#include "client/path_watch.hpp"

#include <algorithm>

#include "client/net/icmp_probe.hpp"
#include "common/io/asio.hpp"
#include "common/log/log.hpp"

namespace dstm::client {

PathWatch::PathWatch(asio::io_context& context, const std::string& device, Driver& driver)
    : driver_(driver),
      host_(driver.ports().host),
      clock_(driver.ports().clock),
      echo_(make_icmp_probe(context, device, [this](const Event& event) { answered(event); })),
      timer_(context) {}

void PathWatch::look(const Binding& binding) {
    const auto mtu = host_.mtu();
    // Without `keepalive_to` nobody is known who would answer, and the former peer is no longer.
    if (!binding.offer.keepalive_to || !mtu) return stop();
    from_ = binding.offer.inner;
    to_ = *binding.offer.keepalive_to;
    begin(*mtu);
}

void PathWatch::stop() {
    probe_.stop();
    timer_.cancel();
    echo_->close();
    is_limited_ = false;
}

void PathWatch::begin(std::uint32_t mtu) {
    is_limited_ = is_limited_ && mtu == mtu_;
    mtu_ = mtu;
    packets_ = packets();
    // Once more: what was said before may have been lost, and is forgotten after a while.
    if (is_limited_) tell_endpoint(mtu_);
    probe_.begin(clock_.now());
    go_on();
}

void PathWatch::go_on() {
    const auto now = clock_.now();
    if (const auto verdict = probe_.verdict(now)) return conclude(*verdict);
    // Read anew for each round: a packet-too-big may have said by now what would fit.
    const auto mtu = host_.mtu();
    if (!mtu) return stop();
    for (const auto& echo : probe_.next(now)) {
        driver_.count_keepalive();
        echo_->send({from_, to_, echo.sequence, echo.is_large ? *mtu : 0});
    }
    if (const auto due = probe_.due()) {
        timer_.after(std::max(Duration{0}, *due - clock_.now()), [this] { go_on(); });
    } else {
        timer_.after(confirmation_time, [this] { confirm(); });
    }
}

// RFC 8899 s4.3: only while packets pass. A tunnel that is not used has no black hole.
void PathWatch::confirm() {
    const auto mtu = host_.mtu();
    if (!mtu) return stop();
    if (*mtu != mtu_ || packets() != packets_) return begin(*mtu);
    timer_.after(confirmation_time, [this] { confirm(); });
}

void PathWatch::answered(const Event& event) {
    const auto* answer = std::get_if<KeepaliveAnswered>(&event);
    if (answer == nullptr) return;
    driver_.count_keepalive();
    if (const auto verdict = probe_.answered(answer->sequence)) conclude(*verdict);
}

void PathWatch::conclude(PathProbe::Verdict verdict) {
    timer_.after(confirmation_time, [this] { confirm(); });
    if (verdict == PathProbe::Verdict::good) return;
    const auto before = host_.mtu().value_or(0);
    if (const auto used = host_.use_smallest_mtu(); !used) {
        log_warning("CLIENT_PATH_NOT_LIMITED", "{}", to_string(used.error()));
        return;
    }
    mtu_ = host_.mtu().value_or(0);
    is_limited_ = true;
    if (mtu_ != before) log_warning("CLIENT_PATH_LIMITED", "mtu={} before={}", mtu_, before);
    tell_endpoint(mtu_);
}

// Which of the two ways is narrow the echoes do not say. The endpoint learns of its own no other
// way: no router tells it.
void PathWatch::tell_endpoint(std::uint32_t mtu) {
    driver_.count_keepalive();
    echo_->say_too_big(from_, to_, mtu);
}

std::uint64_t PathWatch::packets() const {
    const auto counters = host_.counters();
    if (!counters) return 0;
    return counters->packets_up + counters->packets_down - driver_.keepalives();
}

}  // namespace dstm::client

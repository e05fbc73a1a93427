// Fail every step: each scripted exchange is run once for every operation it asks of Kea and of the
// endpoints (those of its way back too) and every way in which that operation can fail, alone and
// in pairs. Afterwards the world holds nothing of the session's, or exactly the previous binding.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <string_view>

#include "support/broker_world.hpp"

namespace dstm::support {
namespace {

using testing::IsEmpty;
using tsp::Status;

const char* const home = "2001:db8:1::a";
const char* const away = "2001:db8:9::a";
const char* const home_v4 = "203.0.113.1";
const char* const away_v4 = "203.0.113.9";
const char* const nat = "203.0.113.200";

enum class Failure {
    refused,
    exhausted,
    silent_and_not_done,
    silent_but_done,
    silent_and_done_later,
    kea_lost,
    endpoint_lost,
    endpoint_lost_and_back,
    session_gone,
    lease_deleted,
    server_killed,
};
constexpr Failure failures[] = {Failure::refused,
                                Failure::exhausted,
                                Failure::silent_and_not_done,
                                Failure::silent_but_done,
                                Failure::silent_and_done_later,
                                Failure::kea_lost,
                                Failure::endpoint_lost,
                                Failure::endpoint_lost_and_back,
                                Failure::session_gone,
                                Failure::lease_deleted,
                                Failure::server_killed};

struct Injection {
    std::size_t step;
    Failure failure;
};

// What the client does once it has been answered.
enum class Then { accept, reject, disconnect };

struct Script {
    const char* name;
    const char* previous;  // from where a binding was accepted before; nullptr: there is none
    const char* source;    // nullptr: a delete from there
    Then then;
    int endpoints;
    const char* relay = "";  // the create comes through this endpoint, and asks for a prefix
};

const Script scripts[] = {
    {"Create", nullptr, home, Then::accept, 1},
    {"CreateWithTwoEndpoints", nullptr, home, Then::accept, 2},
    {"CreateAndReject", nullptr, home, Then::reject, 2},
    {"CreateAndDisconnect", nullptr, home, Then::disconnect, 1},
    {"Renew", home, home, Then::accept, 1},
    {"RenewAndReject", home, home, Then::reject, 2},
    {"Move", home, away, Then::accept, 2},
    {"MoveAndReject", home, away, Then::reject, 1},
    {"MoveAndDisconnect", home, away, Then::disconnect, 2},
    {"Delete", home, nullptr, Then::disconnect, 2},
    {"CreateV6", nullptr, home_v4, Then::accept, 2},
    {"CreateV6AndReject", nullptr, home_v4, Then::reject, 1},
    {"MoveV6", home_v4, away_v4, Then::accept, 2},
    {"CreateBehindNat", nullptr, nat, Then::accept, 2, "tep1"},
    {"CreateBehindNatAndReject", nullptr, nat, Then::reject, 1, "tep1"},
    {"MoveBehindNat", home_v4, nat, Then::accept, 2, "tep1"},
    {"MoveBehindNatAndReject", home_v4, nat, Then::reject, 2, "tep1"},
    {"DeleteV6", home_v4, nullptr, Then::disconnect, 2},
};

class Play {
public:
    Play(const Script& script, std::vector<Injection> injections)
        : script_(script), injections_(std::move(injections)) {
        for (int i = 1; i <= script.endpoints; ++i) world_.add_endpoint("tep" + std::to_string(i));
        world_.start_server();
        world_.scheduler.run_for(std::chrono::seconds(1));
        if (script.previous != nullptr) previous_ = world_.set_up("alice", script.previous);
        world_.scheduler.run_for(std::chrono::minutes(2));
    }

    void play() {
        world_.fates = [this](std::string_view) { return next_fate(); };
        const char* source = script_.source == nullptr ? script_.previous : script_.source;
        is_v4_ = std::string_view(source).find(':') != std::string_view::npos;
        dialogue_ = world_.open("alice", source, script_.relay);
        if (script_.source == nullptr) {
            world_.ask_delete(dialogue_);
        } else if (dialogue_->relay.empty()) {
            world_.ask_create(dialogue_);
        } else {
            const auto message = BrokerWorld::create_message(*dialogue_);
            world_.ask(dialogue_, BrokerWorld::with_router(message, 56));
        }
        world_.scheduler.run_until([this] { return dialogue_->is_answered(); },
                                   std::chrono::seconds(20));
        if (world_.has_server()) conclude();
        world_.scheduler.run_for(std::chrono::seconds(20));
        if (world_.has_server()) world_.broker().close(dialogue_->session);
        world_.settle();
    }

    void check() {
        EXPECT_THAT(world_.problems(), IsEmpty());
        const auto status = world_.broker().status();
        EXPECT_EQ(status.exchanges, 0U);
        EXPECT_EQ(status.sessions, 0U);
        EXPECT_LE(dialogue_->answers.size(), 1U);
        const bool is_free = happened_.contains(Failure::server_killed) ||
                             happened_.contains(Failure::lease_deleted);
        if (!is_free) check_outcome();
    }

    // Whether every injection found its step.
    [[nodiscard]] bool was_complete() const {
        for (const Injection& injection : injections_) {
            if (injection.step >= steps_) return false;
        }
        return true;
    }

private:
    [[nodiscard]] bool succeeded() const {
        return dialogue_->is_answered() && dialogue_->status() == Status::success;
    }

    void conclude() {
        if (script_.source != nullptr && succeeded()) {
            // Never said before the effect: the tunnel is where the answer says it is.
            bool is_installed = false;
            for (const auto& [name, endpoint] : world_.endpoints) {
                for (const auto& [inner, tunnel] : endpoint.tunnels) {
                    if (to_string(tunnel.outer_client.address) == script_.source) {
                        is_installed = true;
                    }
                }
            }
            EXPECT_TRUE(is_installed || happened_.contains(Failure::lease_deleted));
        }
        switch (script_.then) {
            case Then::accept:
                if (succeeded()) world_.broker().accept(dialogue_->session);
                break;
            case Then::reject: world_.broker().reject(dialogue_->session); break;
            case Then::disconnect: world_.broker().close(dialogue_->session); break;
        }
    }

    void check_outcome() {
        const auto& leases = kea().leases;
        if (script_.source == nullptr) {
            if (succeeded()) {
                EXPECT_THAT(leases, IsEmpty());
            }
            return;  // else gone or as it was: problems() has seen that it is whole
        }
        if (succeeded() && script_.then == Then::accept) {
            ASSERT_EQ(leases.size(), 1U);
            EXPECT_EQ(outer(), script_.source);
        } else if (previous_) {
            ASSERT_EQ(leases.size(), 1U);
            EXPECT_EQ(outer(), script_.previous);
            EXPECT_EQ(leases.begin()->first, *previous_);
        } else {
            EXPECT_THAT(leases, IsEmpty());
        }
    }

    // The one of Kea's servers that the script is about.
    [[nodiscard]] MemoryKea& kea() { return is_v4_ ? world_.kea : world_.kea6; }

    [[nodiscard]] std::string outer() {
        return to_string(kea().leases.begin()->second.context.outer_client.address);
    }

    Fate next_fate() {
        Fate fate;
        const std::size_t step = steps_++;
        for (const Injection& injection : injections_) {
            if (injection.step == step) inject(injection.failure, fate);
        }
        return fate;
    }

    void inject(Failure failure, Fate& fate) {
        happened_.insert(failure);
        const Duration in_the_middle{2};
        const Duration late{4};
        switch (failure) {
            case Failure::refused:
                fate.happens = false;
                fate.error = ErrorCode::refused;
                return;
            case Failure::exhausted:
                fate.happens = false;
                fate.error = ErrorCode::exhausted;
                return;
            case Failure::silent_and_not_done:
                fate.happens = false;
                fate.error = ErrorCode::timed_out;
                return;
            case Failure::silent_but_done: fate.error = ErrorCode::timed_out; return;
            case Failure::silent_and_done_later:
                fate.error = ErrorCode::timed_out;
                fate.gives_up_first = true;
                fate.effect_after = std::chrono::seconds(3);
                return;
            case Failure::kea_lost:
                fate.answer_after = late;
                world_.scheduler.post(in_the_middle, [this] { kea().stop(); });
                return;
            case Failure::endpoint_lost:
            case Failure::endpoint_lost_and_back:
                fate.answer_after = late;
                world_.scheduler.post(in_the_middle, [this, failure] {
                    if (!world_.has_server()) return;
                    auto& endpoint = world_.endpoints.at("tep1");
                    world_.links().disconnect("tep1");
                    if (failure == Failure::endpoint_lost_and_back) {
                        world_.links().connect(endpoint);
                    }
                });
                return;
            case Failure::session_gone:
                fate.answer_after = late;
                world_.scheduler.post(in_the_middle, [this] {
                    if (world_.has_server()) world_.broker().close(dialogue_->session);
                });
                return;
            case Failure::lease_deleted:
                fate.answer_after = late;
                world_.scheduler.post(in_the_middle, [this] {
                    if (kea().leases.empty()) return;
                    kea().end(kea().leases.begin()->first, server::LeaseEnd::deleted);
                });
                return;
            case Failure::server_killed:
                fate.answer_after = late;
                world_.scheduler.post(in_the_middle, [this] {
                    if (world_.has_server()) world_.kill_server();
                });
                return;
        }
    }

    Script script_;
    std::vector<Injection> injections_;
    BrokerWorld world_;
    bool is_v4_ = true;  // an IPv4 address is leased
    std::optional<IpAddress> previous_;
    std::shared_ptr<Dialogue> dialogue_;
    std::size_t steps_ = 0;
    std::set<Failure> happened_;
};

constexpr std::size_t steps_max = 40;  // no script comes near

class FailEveryStep : public testing::TestWithParam<Script> {};

TEST_P(FailEveryStep, Alone) {
    {
        Play good(GetParam(), {});
        good.play();
        good.check();
    }
    for (const Failure failure : failures) {
        for (std::size_t step = 0; step < steps_max; ++step) {
            SCOPED_TRACE(testing::Message()
                         << "failure " << static_cast<int>(failure) << " at step " << step);
            Play run(GetParam(), {{step, failure}});
            run.play();
            run.check();
            if (HasFailure()) return;
            if (!run.was_complete()) break;
            ASSERT_LT(step + 1, steps_max);
        }
    }
}

TEST_P(FailEveryStep, InPairs) {
    for (const Failure first : failures) {
        for (const Failure second : failures) {
            for (std::size_t step = 0; step < 5; ++step) {
                for (std::size_t gap = 1; gap < 5; ++gap) {
                    SCOPED_TRACE(testing::Message()
                                 << "failure " << static_cast<int>(first) << " at step " << step
                                 << ", " << static_cast<int>(second) << " at " << step + gap);
                    Play run(GetParam(), {{step, first}, {step + gap, second}});
                    run.play();
                    run.check();
                    if (HasFailure()) return;
                    if (!run.was_complete()) break;
                }
            }
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Scripts, FailEveryStep, testing::ValuesIn(scripts),
                         [](const auto& script) { return std::string(script.param.name); });

}  // namespace
}  // namespace dstm::support

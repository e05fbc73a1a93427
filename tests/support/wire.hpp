// One pipelined connection between a server and Kea or an endpoint, in memory. Requests take effect
// in the order they were made, answers may come in any order, late, wrong or not at all; a request
// whose connection is lost is answered `unavailable`, and nobody can tell whether it was done.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/result.hpp"
#include "support/scheduler.hpp"

namespace dstm::support {

// What becomes of one request.
struct Fate {
    bool happens = true;
    std::optional<ErrorCode> error;  // answered instead of what came out
    Duration effect_after{1};
    Duration answer_after{1};     // after the effect
    bool gives_up_first = false;  // answered with `error` before the effect, which comes anyway
};

// Asked for each request; the name is that of the operation ("allocate", "install", ...).
using Fates = std::function<Fate(std::string_view operation)>;

class Wire {
public:
    Wire(Scheduler& scheduler, const Fates& fates) : scheduler_(scheduler), fates_(fates) {}
    Wire(const Wire&) = delete;
    Wire& operator=(const Wire&) = delete;
    // The process died: nobody hears an answer. What was sent is carried out before the other side
    // hears of a new connection, or never.
    ~Wire() {
        for (const auto& request : requests_) {
            request->is_answered = true;
            if (effects_survive_ && !request->is_over && !request->is_cancelled) {
                request->effect();
            }
            request->is_cancelled = true;
        }
    }

    template <class T>
    void submit(std::string_view operation, std::function<Result<T>()> effect,
                std::function<void(Result<T>)> done) {
        const Fate fate = fates_ ? fates_(operation) : Fate{};
        auto request = std::make_shared<Request>();
        auto outcome = std::make_shared<Result<T>>(fail(ErrorCode::timed_out, "no answer"));
        request->answer = [done](const Error& error) { done(tl::unexpected<Error>(error)); };
        std::erase_if(requests_, [](const auto& old) { return old->is_answered && old->is_over; });
        requests_.push_back(request);

        const Duration now = scheduler_.clock.now().time_since_epoch();
        last_effect_ = std::max(last_effect_, now + fate.effect_after);
        if (fate.happens) {
            request->effect = [outcome, effect = std::move(effect)] { *outcome = effect(); };
        }
        scheduler_.post(last_effect_ - now, [request] {
            if (!request->is_cancelled) request->effect();
            request->is_over = true;
        });
        const Duration answered =
            fate.gives_up_first ? Duration(0) : last_effect_ - now + fate.answer_after;
        scheduler_.post(answered, [request, outcome, done, fate] {
            if (std::exchange(request->is_answered, true)) return;
            if (fate.error) *outcome = fail(*fate.error, "injected");
            done(std::move(*outcome));
        });
    }

    // The connection breaks: requests without effect so far never have one.
    void drop() {
        std::vector<std::shared_ptr<Request>> lost;
        lost.swap(requests_);
        for (const auto& request : lost) {
            request->is_cancelled = true;
            if (std::exchange(request->is_answered, true)) continue;
            scheduler_.post(Duration(0), [request, alive = std::weak_ptr<bool>(alive_)] {
                if (!alive.expired()) {
                    request->answer(Error{ErrorCode::unavailable, "connection lost"});
                }
            });
        }
    }

    void let_effects_survive() { effects_survive_ = true; }

private:
    struct Request {
        bool is_answered = false;
        bool is_cancelled = false;
        bool is_over = false;  // its effect has happened, or never will
        std::function<void()> effect = [] {};
        std::function<void(const Error&)> answer;
    };

    Scheduler& scheduler_;
    const Fates& fates_;
    std::vector<std::shared_ptr<Request>> requests_;
    Duration last_effect_{0};
    bool effects_survive_ = false;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace dstm::support

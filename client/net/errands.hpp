// Work that may block for long and cannot be called off (the C library's resolver, Cyrus SASL that
// asks a Kerberos server): each piece on a thread of its own, which nobody ever waits for. An owner
// that goes leaves such a thread to itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "common/io/asio.hpp"

namespace dstm::client {

class Errands {
public:
    // `context` outlives this; everything but the work itself runs on its thread.
    explicit Errands(asio::io_context& context, std::size_t most = 32);
    ~Errands();
    Errands(const Errands&) = delete;
    Errands& operator=(const Errands&) = delete;

    // `done` is called with the result of `work`, later, and not at all once this has gone. `work`
    // holds nothing that belongs to the context's thread. False: too many are under way.
    template <class Work, class Done>
    [[nodiscard]] bool run(Work work, Done done) {
        const auto result = std::make_shared<std::optional<std::invoke_result_t<Work>>>();
        return begin([result, work = std::move(work)]() mutable { result->emplace(work()); },
                     [result, done = std::move(done)]() mutable { done(std::move(**result)); });
    }

private:
    struct Shared;
    [[nodiscard]] bool begin(std::function<void()> work, std::function<void()> done);
    void finish(std::uint64_t number);

    std::shared_ptr<Shared> shared_;
    std::size_t most_;
    std::uint64_t last_ = 0;
    // Never on the other thread, where the last of a socket might go with it.
    std::map<std::uint64_t, std::function<void()>> waiting_;
};

}  // namespace dstm::client

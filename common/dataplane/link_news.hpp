// Which links of the host have changed or gone, as the kernel reports it over rtnetlink. What is
// changed is not read: whoever is told asks the kernel what holds now.
#pragma once

#include <memory>
#include <optional>
#include <set>

#include "common/base/result.hpp"

namespace dstm::dataplane {

class LinkNews {
public:
    [[nodiscard]] static Result<LinkNews> open();
    LinkNews(LinkNews&&) noexcept;
    LinkNews& operator=(LinkNews&&) noexcept;
    ~LinkNews();

    // Readable when there is news.
    [[nodiscard]] int descriptor() const;
    // Indices of those since the last call; does not wait. nullopt: some reports were lost, so that
    // it may be any.
    [[nodiscard]] std::optional<std::set<int>> take();

private:
    struct Impl;
    explicit LinkNews(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace dstm::dataplane

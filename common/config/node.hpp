// The parsed configuration with the line of every value: what document.cpp builds and reader.cpp
// reads. Private to common/config.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "common/config/reader.hpp"

namespace dstm::config {

struct Node;
using Members = std::vector<std::pair<std::string, Node>>;
using Elements = std::vector<Node>;

struct Node {
    std::variant<std::nullptr_t, bool, std::int64_t, double, std::string, Members, Elements> value;
    std::size_t line = 1;
    bool is_repeated = false;     // the same key stands before it
    mutable bool wanted = false;  // a daemon asked for it; what nobody wanted is unknown
    mutable std::set<std::string, std::less<>> known = {};  // the keys that were asked for in it

    // nullptr when this is no object or has no such member.
    [[nodiscard]] const Node* find(std::string_view key) const;
};

[[nodiscard]] const char* type_name(const Node& node);

// "a" and "b" are "a.b", "a" and "[0]" are "a[0]".
[[nodiscard]] std::string joined(const std::string& path, const std::string& name);

struct Mistake {
    std::size_t line;
    std::string text;
};

struct Document::State {
    std::string name;
    Node root;
    std::vector<Mistake> mistakes;
};

}  // namespace dstm::config

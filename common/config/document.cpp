// JSON text to nodes with line numbers. nlohmann-json does the reading; the two things it lacks are
// here: '#' comments as Kea has them, and where a value stood.
#include <algorithm>
#include <fstream>
#include <utility>

#include <nlohmann/json.hpp>

#include "common/base/utf8.hpp"
#include "common/config/node.hpp"
#include "common/config/syntax_error.hpp"
#include "common/config/unknown_key.hpp"

namespace dstm::config {
namespace {

constexpr std::size_t file_size_max = 1 << 20;
constexpr std::size_t depth_max = 32;

std::optional<std::size_t> line_that_is_not_utf8(std::string_view text) {
    for (std::size_t line = 1; !is_utf8(text); ++line) {
        const auto end = text.find('\n');
        if (!is_utf8(text.substr(0, end))) return line;
        text.remove_prefix(end + 1);
    }
    return std::nullopt;
}

// Blanks comments in place, so that every other character keeps its line and column.
std::string without_comments(std::string_view text) {
    std::string out(text);
    std::size_t i = 0;
    const auto blank_until = [&](std::size_t end) {
        for (; i < end; ++i) {
            if (out[i] != '\n') out[i] = ' ';
        }
    };
    while (i < out.size()) {
        const auto rest = std::string_view(out).substr(i);
        if (out[i] == '"') {
            for (++i; i < out.size() && out[i] != '"' && out[i] != '\n'; ++i) {
                if (out[i] == '\\' && i + 1 < out.size()) ++i;
            }
            ++i;
        } else if (out[i] == '#' || rest.starts_with("//")) {
            blank_until(std::min(out.find('\n', i), out.size()));
        } else if (rest.starts_with("/*")) {
            const auto end = out.find("*/", i + 2);
            // An unfinished comment stays, so that the parser complains about it where it begins.
            if (end == std::string::npos) break;
            blank_until(end + 2);
        } else {
            ++i;
        }
    }
    return out;
}

// Feeds the parser and remembers the line of the last character that was not white space: at a
// callback that is the line of the value just read, as the parser reads ahead by at most one.
class CountingIterator {
public:
    using iterator_category = std::input_iterator_tag;
    using value_type = char;
    using difference_type = std::ptrdiff_t;
    using pointer = const char*;
    using reference = const char&;

    struct Position {
        std::size_t line = 1;
        std::size_t value_line = 1;
    };

    CountingIterator(const char* at, Position* position) : at_(at), position_(position) {}
    reference operator*() const { return *at_; }
    CountingIterator& operator++() {
        if (*at_ == '\n')
            ++position_->line;
        else if (*at_ != ' ' && *at_ != '\t' && *at_ != '\r')
            position_->value_line = position_->line;
        ++at_;
        return *this;
    }
    CountingIterator operator++(int) {
        auto before = *this;
        ++*this;
        return before;
    }
    bool operator==(const CountingIterator& other) const { return at_ == other.at_; }
    bool operator!=(const CountingIterator& other) const { return at_ != other.at_; }

private:
    const char* at_;
    Position* position_;
};

// Receives the parser's events and builds the tree.
class TreeBuilder {
public:
    using json = nlohmann::json;

    TreeBuilder(const CountingIterator::Position& position, Document::State& state)
        : position_(position), state_(state) {}

    [[nodiscard]] const std::string& error() const { return error_; }

    bool null() { return place(nullptr); }
    bool boolean(bool value) { return place(value); }
    bool number_integer(json::number_integer_t value) { return place(std::int64_t{value}); }
    bool number_unsigned(json::number_unsigned_t value) {
        // What does not fit is read as a fraction, so that every range check refuses it.
        if (value > INT64_MAX) return place(static_cast<double>(value));
        return place(static_cast<std::int64_t>(value));
    }
    bool number_float(json::number_float_t value, const std::string&) { return place(value); }
    bool string(std::string& value) { return place(std::move(value)); }
    bool binary(json::binary_t&) { return false; }
    bool start_object(std::size_t) { return open(Members{}); }
    bool start_array(std::size_t) { return open(Elements{}); }
    bool end_object() { return close(); }
    bool end_array() { return close(); }

    bool key(std::string& name) {
        if (const auto* before = open_.back()->find(name); before != nullptr) {
            state_.mistakes.push_back({position_.value_line,
                                       path_to(name) + ": given twice; it stands in line " +
                                           std::to_string(before->line) + " already"});
            is_repeated_ = true;
        }
        key_ = std::move(name);
        return true;
    }

    bool parse_error(std::size_t, const std::string&, const json::exception& error) {
        error_ = syntax_error_in_words(error.what());
        return false;
    }

private:
    template <class Value>
    bool place(Value value) {
        add(std::move(value));
        return true;
    }

    template <class Container>
    bool open(Container container) {
        if (open_.size() >= depth_max) {
            error_ = "nested deeper than " + std::to_string(depth_max);
            return false;
        }
        auto name = open_.empty() ? std::string() : name_of_next();
        open_.push_back(add(std::move(container)));
        names_.push_back(std::move(name));
        return true;
    }

    bool close() {
        open_.pop_back();
        names_.pop_back();
        return true;
    }

    // As Reader calls it: a.b[0].c
    [[nodiscard]] std::string path_to(const std::string& last) const {
        std::string path;
        for (const auto& name : names_) path = joined(path, name);
        return joined(path, last);
    }

    [[nodiscard]] std::string name_of_next() const {
        const auto* elements = std::get_if<Elements>(&open_.back()->value);
        return elements == nullptr ? key_ : '[' + std::to_string(elements->size()) + ']';
    }

    // The address stays good while the node is open: its parent gets no other child meanwhile.
    template <class Value>
    Node* add(Value value) {
        Node node{std::move(value), position_.value_line};
        node.is_repeated = std::exchange(is_repeated_, false);
        if (open_.empty()) {
            state_.root = std::move(node);
            return &state_.root;
        }
        if (auto* members = std::get_if<Members>(&open_.back()->value)) {
            return &members->emplace_back(std::move(key_), std::move(node)).second;
        }
        return &std::get<Elements>(open_.back()->value).emplace_back(std::move(node));
    }

    const CountingIterator::Position& position_;
    Document::State& state_;
    std::vector<Node*> open_;
    std::vector<std::string> names_;  // of what is open
    std::string key_;
    bool is_repeated_ = false;
    std::string error_;
};

}  // namespace

const Node* Node::find(std::string_view key) const {
    const auto* members = std::get_if<Members>(&value);
    if (members == nullptr) return nullptr;
    const auto found = std::find_if(members->begin(), members->end(),
                                    [&](const auto& member) { return member.first == key; });
    return found == members->end() ? nullptr : &found->second;
}

Document::Document(std::unique_ptr<State> state) : state_(std::move(state)) {}
Document::Document(Document&&) noexcept = default;
Document& Document::operator=(Document&&) noexcept = default;
Document::~Document() = default;

Result<Document> Document::load(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) return tl::unexpected(error_from_errno(errno, path));
    std::string text(file_size_max + 1, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (file.bad()) return fail(ErrorCode::unavailable, path + ": cannot be read");
    text.resize(static_cast<std::size_t>(file.gcount()));
    if (text.size() > file_size_max) return fail(ErrorCode::invalid, path + ": larger than 1 MiB");
    return parse(text, path);
}

Result<Document> Document::parse(std::string_view text, std::string name) {
    auto state = std::make_unique<State>();
    state->name = std::move(name);
    if (const auto line = line_that_is_not_utf8(text)) {
        return fail(ErrorCode::invalid,
                    state->name + ':' + std::to_string(*line) + ": is not UTF-8 text");
    }
    const auto plain = without_comments(text);
    CountingIterator::Position position;
    TreeBuilder builder(position, *state);
    const CountingIterator first(plain.data(), &position);
    const CountingIterator last(plain.data() + plain.size(), &position);
    if (!nlohmann::json::sax_parse(first, last, &builder)) {
        return fail(ErrorCode::invalid, state->name + ':' + std::to_string(position.value_line) +
                                            ": " + builder.error());
    }
    if (!std::holds_alternative<Members>(state->root.value)) {
        return fail(ErrorCode::invalid, state->name + ":1: must be an object { ... }");
    }
    return Document(std::move(state));
}

Reader Document::root() { return Reader(state_.get(), &state_->root, ""); }

std::vector<std::string> Document::finish() {
    auto mistakes = state_->mistakes;
    find_unknown(state_->root, mistakes);
    std::stable_sort(mistakes.begin(), mistakes.end(),
                     [](const Mistake& a, const Mistake& b) { return a.line < b.line; });
    std::vector<std::string> lines;
    for (const auto& [line, what] : mistakes) {
        lines.push_back(state_->name + ':' + std::to_string(line) + ": " + what);
    }
    return lines;
}

}  // namespace dstm::config

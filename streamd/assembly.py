"""What the configuration says, as the values that each stage takes; the stages themselves know no configuration."""

from __future__ import annotations

import functools
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, get_args

from streamd.config import Config, Profile
from streamd.credentials import redact
from streamd.enrolment.attributes import AttributeModel, read_attributes
from streamd.enrolment.coach import Coach, CoachRules
from streamd.enrolment.folder import EnrolmentFolder, FolderRules
from streamd.enrolment.images import OpenedPhoto
from streamd.enrolment.photo import PhotoVerdict
from streamd.enrolment.rows import Row
from streamd.enrolment.seal import Seal, vault_key
from streamd.enrolment.succession import Succession
from streamd.enrolment.unknown import UnknownRules, UnknownVisits
from streamd.enrolment.vault import Vault
from streamd.errors import ModelError
from streamd.events.broker import BrokerSettings
from streamd.events.contract import Topics
from streamd.people import Kept, PersonalStore, PhotoStore, PictureStore, TemplateStore, UnknownStore
from streamd.recognition.calibration import Calibration
from streamd.recognition.card import ModelCard, read_card
from streamd.recognition.copies import attributes_beside, copy_of, drop_copies, keep_copy
from streamd.recognition.decision import DecisionRules
from streamd.recognition.embedding import Embedder, open_embedder
from streamd.recognition.visit import VisitRules
from streamd.vision.alignment import VERSION
from streamd.vision.capture import Camera
from streamd.vision.detection import DetectionRules
from streamd.vision.motion import MotionRules
from streamd.vision.quality import QualityRules

log = logging.getLogger(__name__)

MODELS: Final = Path(__file__).resolve().parent / "models"
"""What comes with streamd: a card for each of the profiles, under its name."""

PROFILES: Final[tuple[str, ...]] = get_args(Profile)

SHIPPED_CARD: Final = MODELS / "pair.json"
"""The card of the model that is used unless the configuration names another."""


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A model that is open: what embeds, how its scores are read, and what tells glasses and coverings; None without that."""

    embedder: Embedder
    calibration: Calibration
    attributes: AttributeModel | None


_ON_THE_WAY: Final = 0.3  # seconds of `max_age` that comparison, decision and hand-over may need

# For a model whose scores nobody has measured for the coach: only all but equal photos are duplicates, and a photo's gain is
# its distance.
_UNMEASURED: Final = (0.98, (0.0, 1.0))


def cameras(config: Config) -> dict[str, Camera]:
    """Every camera by name, disabled ones too."""
    return {
        name: Camera(
            name=name,
            address=camera.url().get_secret_value(),
            shown=redact(camera.source),
            rotation=camera.rotation,
            region=camera.region,
            max_fps=camera.max_fps,
            open_timeout=camera.open_timeout_seconds,
            read_timeout=camera.read_timeout_seconds,
            reconnect_min=camera.reconnect_min_seconds,
            reconnect_max=camera.reconnect_max_seconds,
            frozen_after=camera.frozen_after_seconds,
            loop=camera.loop,
            ca_file=camera.ca_file,
            latest=max(0.5, config.mqtt.max_age_seconds - _ON_THE_WAY),
        )
        for name, camera in config.cameras.items()
    }


def motion_rules(config: Config) -> MotionRules | None:
    """The motion gate's rules, or None where it is switched off."""
    motion = config.motion
    return MotionRules(motion.threshold, motion.min_area, motion.hold_seconds) if motion.enabled else None


def detection_rules(config: Config) -> DetectionRules:
    """What counts as a face."""
    return DetectionRules(config.detection.min_score, config.detection.max_faces, config.detection.tiles)


def quality_rules(config: Config) -> QualityRules:
    """Which crops are compared."""
    return QualityRules(**dict(config.quality))


def visit_rules(config: Config) -> VisitRules:
    """When a visit is decided, ends and goes on."""
    rule = config.decision
    decision = DecisionRules(rule.max_false_accepts, rule.margin, rule.min_good_frames, rule.unknown_after_good_frames)
    return VisitRules(
        decision=decision,
        max_crops_per_second=rule.max_crops_per_second,
        left_after=rule.left_after_seconds,
        rejoin=rule.rejoin_seconds,
        cooldown=rule.cooldown_seconds,
    )


def detection_workers(config: Config) -> int:
    """How many threads detect: as configured, else one for two cameras, at most one per core."""
    if config.detection.workers is not None:
        return config.detection.workers
    return max(1, min((len(config.cameras) + 1) // 2, os.cpu_count() or 1))


def broker_settings(config: Config) -> BrokerSettings:
    """Where the broker is and how to speak to it."""
    mqtt = config.mqtt
    return BrokerSettings(
        host=mqtt.host,
        port=mqtt.port,
        tls=mqtt.tls,
        ca_file=mqtt.ca_file,
        certificate=mqtt.client_certificate,
        key=mqtt.client_key,
        username=mqtt.username,
        password=mqtt.password.get_secret_value() if mqtt.password is not None else None,
        client_id=mqtt.client_id,
        protocol=mqtt.protocol,
        keepalive=mqtt.keepalive_seconds,
        reconnect_min=mqtt.reconnect_min_seconds,
        reconnect_max=mqtt.reconnect_max_seconds,
        max_age=mqtt.max_age_seconds,
    )


def topics(config: Config) -> Topics:
    """The addresses of this node."""
    return Topics(config.mqtt.base_topic)


def attribute_rules(config: Config) -> AttributeModel | None:
    """What tells glasses and coverings, from the file beside the model's card; None for a model without. Raises ModelError."""
    return _attributes(_card_path(config))


def _attributes(card: Path) -> AttributeModel | None:
    path = attributes_beside(card)
    return read_attributes(path, read_card(card).sha256) if path.exists() else None


def open_enrolment(
    config: Config,
    model: Model,
    look: Callable[[OpenedPhoto], PhotoVerdict],
    utc: Callable[[], datetime],
    *,
    vault: Vault | None = None,
    read_only: bool = False,
    keep_photos: bool = False,
    sidecars: bool = True,
) -> EnrolmentFolder:
    """The enrolment folder with its vault and coach. vault: in place of the one in the state folder. read_only: nothing of it
    is written. keep_photos, sidecars: whatever is configured, photos are kept, and verdicts are not written beside them.

    Raises GalleryError.
    """
    decision = visit_rules(config).decision
    rules = model.attributes
    duplicate, genuine = (rules.duplicate, rules.genuine) if rules is not None else _UNMEASURED
    gallery = config.gallery
    folder_rules = FolderRules(
        sidecars=gallery.sidecars and sidecars and not read_only,
        keep_photos=gallery.keep_photos or keep_photos or read_only,
        require_consent=config.privacy.require_consent,
        cameras=tuple(config.cameras),
        basis=f"{VERSION} {quality_rules(config)} {rules is not None}",
        read_only=read_only,
    )
    return EnrolmentFolder(
        config.gallery_folder,
        vault or open_vault(config),
        Coach(model.calibration, CoachRules(duplicate, genuine, decision=decision), model.embedder.dimension),
        look,
        folder_rules,
        model=model.embedder.model,
        dimension=model.embedder.dimension,
        seen=gallery_seen(config),
        utc=utc,
    )


def open_predecessor(config: Config, model: Model, *, read_only: bool = False) -> Model | None:
    """The model that the gallery is of, where that is another than `model` and has a copy; it serves until that has followed.

    Without a copy it is said what that means. Raises GalleryError.
    """
    vault = open_vault(config, make_key=not read_only)
    if vault.model_hint() in (None, model.embedder.model):
        return None
    found = vault.load_any().in_force
    templates = [row for row in found.rows if row.template is not None] if found is not None else []
    if found is None or found.model == model.embedder.model or not templates:
        return None
    try:
        card_path, backend = copy_of(config.state / "models", found.model, map(_shipped, PROFILES))
        settings = config.model
        embedder = open_embedder(card_path, backend, settings.threads, config.state / "models", settings.batch_sizes)
        return Model(embedder, read_card(card_path).calibration, _attributes(card_path))
    except ModelError as error:
        log.warning(
            "the gallery is of the model %s, which cannot serve (%s); photos are embedded anew, and until then nobody is known",
            found.model, error,
        )  # fmt: skip
        if lost := sorted({row.name for row in templates if not row.photo_kept}):
            log.error(
                "%s: their photos were not kept, and their templates are of the model %s; photograph them anew, or put it back",
                ", ".join(lost), found.model,
            )  # fmt: skip
        return None


def open_succession(
    config: Config,
    model: Model,
    predecessor: Model | None,
    look: Callable[[Model, OpenedPhoto], PhotoVerdict],
    utc: Callable[[], datetime],
    *,
    read_only: bool = False,
) -> Succession:
    """The enrolment folder of the model; while `predecessor` serves that one's, with the new one coming beside it.

    look: judges a photo by a model. Raises GalleryError.
    """
    vault = open_vault(config, make_key=not read_only)
    beside = config.state / "vault-next"

    def folder(of: Model, vault: Vault, *, keep_photos: bool = False, sidecars: bool = True) -> EnrolmentFolder:
        return open_enrolment(
            config, of, functools.partial(look, of), utc,
            vault=vault, read_only=read_only, keep_photos=keep_photos, sidecars=sidecars,
        )  # fmt: skip

    if predecessor is None or read_only:
        if beside.is_dir() and not read_only:
            shutil.rmtree(beside)
        return Succession(folder(predecessor or model, vault))

    def swap(rows: Sequence[Row]) -> EnrolmentFolder | str:
        committed = vault.commit(rows, model.embedder.model, model.embedder.dimension)
        if committed.generation is None:
            return committed.problem or f"{beside}: cannot be brought into force"
        shutil.rmtree(beside, ignore_errors=True)
        return folder(model, vault)

    log.info("%s serves until the gallery is embedded anew by %s", predecessor.embedder.model, model.embedder.model)
    # Photos are needed until both have enrolled them; what is written beside them is the verdict in force.
    coming = folder(model, Vault(beside, seal(config)), keep_photos=True, sidecars=False)
    return Succession(folder(predecessor, vault, keep_photos=True), coming, swap)


def keep_model(config: Config, model: Model) -> None:
    """Keep a copy of the model that serves, for after an update, and of no other."""
    folder, card_path = config.state / "models", _card_path(config)
    card = read_card(card_path)
    if not model.embedder.model.startswith(f"{card.name}:{card.sha256[:16]}/"):
        return  # a stand-in, of no file
    try:
        drop_copies(folder, but=[model.embedder.model])
        if keep_copy(folder, card_path):
            log.debug("a copy of the model is in %s", folder)
    except OSError as error:
        log.warning(
            "%s: no copy of the model can be kept (%s); after an update nobody is known until all photos are embedded anew",
            folder, error.strerror,
        )  # fmt: skip


def open_unknown(config: Config, model: Model) -> UnknownVisits | None:
    """The unknown visitors that are kept; None where none are and none were. Raises GalleryError."""
    folder, keep = config.state / "unknown", timedelta(days=config.privacy.keep_unknown_days)
    if not keep and not folder.is_dir():
        return None
    embedder = model.embedder
    return UnknownVisits(folder, seal(config), embedder.model, embedder.dimension, model.calibration, UnknownRules(keep=keep))


def personal_stores(config: Config, kept: Kept) -> list[PersonalStore]:
    """Every place that keeps something of people; templates after their photos, as they are deleted."""
    stores: list[PersonalStore] = [PhotoStore(config.gallery_folder), TemplateStore(kept.folder)]
    if kept.successor is not None:
        stores.append(TemplateStore(kept.successor, "templates-of-the-next-model.json"))
    if kept.unknown is not None:
        stores.append(UnknownStore(kept.unknown))
    if config.debug.pictures is not None:
        stores.append(PictureStore(config.debug.pictures))
    return stores


def seal(config: Config, *, make_key: bool = True) -> Seal:
    """What seals everything that is kept of people; see `vault_key`. Raises GalleryError."""
    return Seal(vault_key(config.state, os.environ, config.gallery.key_file, make=make_key))


def models_at_hand(config: Config) -> set[str]:
    """The configured model, the shipped ones and those with a copy, as templates are marked, without the backend."""
    cards = [_card_path(config), *map(_shipped, PROFILES), *(config.state / "models").glob("*/card.json")]
    return {f"{card.name}:{card.sha256[:16]}" for card in map(read_card, cards)}


def open_vault(config: Config, *, make_key: bool = True) -> Vault:
    """The vault of the gallery in force. make_key: not where nothing is written. Raises GalleryError."""
    return Vault(vault_folder(config), seal(config, make_key=make_key))


def gallery_seen(config: Config) -> Path:
    """Where it is written which folder the enrolment folder was."""
    return config.state / "gallery.seen"


def vault_folder(config: Config) -> Path:
    """Where the vault of the gallery in force is, from the first start on."""
    return config.state / "vault"


def _card_path(config: Config) -> Path:
    return config.model.card or _shipped(config.model.profile)


def _shipped(profile: str) -> Path:
    return MODELS / f"{profile}.json"


def open_model(config: Config) -> tuple[Embedder, ModelCard]:
    """The embedder and the card of the configured model. Raises ModelError."""
    path = _card_path(config)
    model = config.model
    card = read_card(path)
    embedder = open_embedder(path, model.backend, model.threads, config.state / "models", model.batch_sizes)
    return embedder, card

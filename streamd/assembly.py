"""What the configuration says, as the values that each stage takes; the stages themselves know no configuration."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from streamd.config import Config
from streamd.credentials import redact
from streamd.enrolment.attributes import AttributeModel, read_attributes
from streamd.enrolment.coach import Coach, CoachRules
from streamd.enrolment.folder import EnrolmentFolder, FolderRules
from streamd.enrolment.images import OpenedPhoto
from streamd.enrolment.photo import PhotoVerdict
from streamd.enrolment.seal import Seal, vault_key
from streamd.enrolment.unknown import UnknownRules, UnknownVisits
from streamd.enrolment.vault import Vault
from streamd.events.broker import BrokerSettings
from streamd.events.contract import Topics
from streamd.people import Kept, PersonalStore, PhotoStore, PictureStore, TemplateStore, UnknownStore
from streamd.recognition.calibration import Calibration
from streamd.recognition.card import ModelCard, read_card
from streamd.recognition.decision import DecisionRules
from streamd.recognition.embedding import Embedder, open_embedder
from streamd.recognition.visit import VisitRules
from streamd.vision.alignment import VERSION
from streamd.vision.capture import Camera
from streamd.vision.detection import DetectionRules
from streamd.vision.motion import MotionRules
from streamd.vision.quality import QualityRules

SHIPPED_CARD: Final = Path(__file__).resolve().parent / "models" / "sface.json"
"""The card of the model that comes with streamd."""

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
    card = config.model.card or SHIPPED_CARD
    path = card.with_name(f"{card.stem}.attributes.json")
    return read_attributes(path, read_card(card).sha256) if path.exists() else None


def open_enrolment(
    config: Config,
    embedder: Embedder,
    calibration: Calibration,
    look: Callable[[OpenedPhoto], PhotoVerdict],
    utc: Callable[[], datetime],
    *,
    read_only: bool = False,
) -> EnrolmentFolder:
    """The enrolment folder with its vault and coach. read_only: nothing of it is written. Raises GalleryError, ModelError."""
    rules = attribute_rules(config)
    decision = visit_rules(config).decision
    duplicate, genuine = (rules.duplicate, rules.genuine) if rules is not None else _UNMEASURED
    gallery = config.gallery
    folder_rules = FolderRules(
        sidecars=gallery.sidecars and not read_only,
        keep_photos=gallery.keep_photos or read_only,
        require_consent=config.privacy.require_consent,
        cameras=tuple(config.cameras),
        basis=f"{VERSION} {quality_rules(config)} {rules is not None}",
        read_only=read_only,
    )
    return EnrolmentFolder(
        config.gallery_folder,
        Vault(config.state / "vault", seal(config)),
        Coach(calibration, CoachRules(duplicate, genuine, decision=decision), embedder.dimension),
        look,
        folder_rules,
        model=embedder.model,
        dimension=embedder.dimension,
        seen=config.state / "gallery.seen",
        utc=utc,
    )


def open_unknown(config: Config, embedder: Embedder, calibration: Calibration) -> UnknownVisits | None:
    """The unknown visitors that are kept; None where none are and none were. Raises GalleryError."""
    folder, keep = config.state / "unknown", timedelta(days=config.privacy.keep_unknown_days)
    if not keep and not folder.is_dir():
        return None
    return UnknownVisits(folder, seal(config), embedder.model, embedder.dimension, calibration, UnknownRules(keep=keep))


def personal_stores(config: Config, kept: Kept) -> list[PersonalStore]:
    """Every place that keeps something of people, in the order in which it is deleted: templates after their photos."""
    stores: list[PersonalStore] = [PhotoStore(config.gallery_folder), TemplateStore(kept.folder)]
    if kept.unknown is not None:
        stores.append(UnknownStore(kept.unknown))
    if config.debug.pictures is not None:
        stores.append(PictureStore(config.debug.pictures))
    return stores


def seal(config: Config) -> Seal:
    """What seals everything that is kept of people. Raises GalleryError."""
    return Seal(vault_key(config.state, os.environ, config.gallery.key_file))


def open_model(config: Config) -> tuple[Embedder, ModelCard]:
    """The embedder and the card of the configured model. Raises ModelError."""
    path = config.model.card or SHIPPED_CARD
    model = config.model
    card = read_card(path)
    embedder = open_embedder(path, model.backend, model.threads, config.state / "models", model.batch_sizes)
    return embedder, card
